with source as (

    select * from {{ raw(source('ingestion', 'users')) }}

),

typed as (

    select
        cast(user_id as string) as user_id
        -- Features vary by dataset: whatever else there is, as lists.
        {{ features_as_lists(source('ingestion', 'users'), ['user_id']) }}
    from source

)

select * from typed
