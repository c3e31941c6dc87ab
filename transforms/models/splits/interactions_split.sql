with engagements as (

    select * from {{ ref('timeline') }}

),

bounds as (

    select * from {{ ref('split_bounds') }}

),

labelled as (

    select
        engagements.user_id,
        engagements.item_id,
        engagements.timestamp,
        engagements.event_type,
        engagements.value,
        engagements.source_row,
        engagements.source_timestamp,
        bounds.split,
        bounds.window
    from engagements
    inner join bounds
        on engagements.timestamp >= bounds.starts_at and engagements.timestamp < bounds.ends_at

)

select * from labelled
