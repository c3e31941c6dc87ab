with source as (

    select * from {{ source('ingestion', 'items') }}
    -- Datasets without content have no such column; every row of theirs has none here.
    union all by name
    select cast(null as float[]) as content where false

),

typed as (

    select
        cast(item_id as varchar) as item_id,
        cast(title as varchar) as title,
        cast(created_at as timestamp) as created_at,
        cast(content as float[]) as content,
        -- Features vary by dataset: whatever else there is, as lists.
        cast(columns(* exclude (item_id, title, created_at, content)) as varchar[])
    from source

)

select * from typed
