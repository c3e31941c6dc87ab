with source as (

    -- Datasets without content have no such column; every row of theirs has none here.
    {{ with_content(source('ingestion', 'items')) }}

),

typed as (

    select
        cast(item_id as string) as item_id,
        cast(title as string) as title,
        cast(created_at as timestamp) as created_at,
        cast(content as {{ list_of('float') }}) as content
        -- Features vary by dataset: whatever else there is, as lists.
        {{ features_as_lists(source('ingestion', 'items'), ['item_id', 'title', 'created_at', 'content']) }}
    from source

)

select * from typed
