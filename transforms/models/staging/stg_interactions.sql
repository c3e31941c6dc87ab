with source as (

    select * from {{ source('ingestion', 'interactions') }}

),

typed as (

    select
        cast(user_id as varchar) as user_id,
        cast(item_id as varchar) as item_id,
        cast("timestamp" as timestamp) as "timestamp",
        cast(event_type as varchar) as event_type,
        cast("value" as double) as "value",
        cast(source_row as bigint) as source_row
    from source

),

engagements as (

    select *
    from typed
    where {{ is_engagement('event_type', '"value"') }}

)

select * from engagements
