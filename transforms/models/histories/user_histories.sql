with engagements as (

    select
        *,
        row_number() over (partition by user_id order by timestamp desc, source_row desc) as recency
    from {{ ref('interactions_split') }}
    where split <> 'test'

),

histories as (

    select
        user_id,
        {{ in_order('item_id', 'timestamp, source_row') }} as item_ids,
        {{ in_order('timestamp', 'timestamp, source_row') }} as timestamps
    from engagements
    where recency <= {{ var('history_length') }}
    group by user_id

)

select * from histories
