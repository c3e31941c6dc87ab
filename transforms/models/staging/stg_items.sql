with source as (

    select * from {{ source('ingestion', 'items') }}

),

typed as (

    select
        cast(item_id as varchar) as item_id,
        cast(title as varchar) as title,
        cast(created_at as timestamp) as created_at,
        -- Features vary by dataset: whatever else there is, as lists.
        cast(columns(* exclude (item_id, title, created_at)) as varchar[])
    from source

)

select * from typed
