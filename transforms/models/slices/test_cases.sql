with engagements as (

    select
        *,
        -- The rank counts rows strictly before, plus one: equal timestamps do not see each other.
        rank() over (partition by item_id order by timestamp) - 1 as engagements_seen,
        rank() over (partition by user_id, item_id order by timestamp) > 1 as is_repeat,
        cast(date_trunc('day', timestamp) as timestamp) as refresh_at
    from {{ ref('interactions_split') }}

),

items as (

    select item_id, slice, available_at from {{ ref('items') }}

),

users as (

    select user_id, train_count from {{ ref('users') }}

),

cases as (

    select
        engagements.user_id,
        engagements.item_id,
        engagements.timestamp,
        engagements.source_row,
        engagements.window,
        items.slice,
        engagements.refresh_at,
        items.available_at <= engagements.refresh_at as on_catalog,
        engagements.engagements_seen,
        engagements.is_repeat,
        users.train_count > 0 as user_in_train
    from engagements
    inner join items on engagements.item_id = items.item_id
    inner join users on engagements.user_id = users.user_id
    where engagements.split = 'test'

)

select * from cases
