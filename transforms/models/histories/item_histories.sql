with qualified_users as (

    select user_id from {{ ref('users') }} where train_count >= {{ var('qualified_user_min') }}

),

engagements as (

    select
        interactions.*,
        row_number() over (
            partition by interactions.item_id order by interactions.timestamp desc, interactions.source_row desc
        ) as recency
    from {{ ref('interactions_split') }} as interactions
    inner join qualified_users on interactions.user_id = qualified_users.user_id
    where interactions.split <> 'test'

),

histories as (

    select
        item_id,
        {{ in_order('user_id', 'timestamp, source_row') }} as user_ids,
        {{ in_order('timestamp', 'timestamp, source_row') }} as timestamps
    from engagements
    where recency <= {{ var('history_length') }}
    group by item_id

)

select * from histories
