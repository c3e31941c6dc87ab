with source as (

    select * from {{ source('ingestion', 'users') }}

),

typed as (

    select
        cast(user_id as varchar) as user_id,
        -- Features vary by dataset: whatever else there is, as lists.
        cast(columns(* exclude (user_id)) as varchar[])
    from source

)

select * from typed
