with source as (

    select * from {{ raw(source('ingestion', 'interactions')) }}

),

typed as (

    select
        cast(user_id as string) as user_id,
        cast(item_id as string) as item_id,
        cast(timestamp as timestamp) as timestamp,
        cast(event_type as string) as event_type,
        cast(value as double) as value,
        cast(source_row as bigint) as source_row
    from source

),

engagements as (

    select *
    from typed
    where {{ is_engagement('event_type', 'value') }}

)

select * from engagements
