with items as (

    select *
    from {{ ref('stg_items') }}
    where item_id not in (select id from {{ ref('left_out') }} where kind = 'item')

),

cutoff as (

    select ends_at as instant from {{ ref('split_bounds') }} where split = 'validation'

),

engaged as (

    select
        item_id,
        min(timestamp) as first_engaged_at,
        count(*) filter (where split <> 'test') as train_count
    from {{ ref('interactions_split') }}
    group by item_id

),

every_item as (

    select
        coalesce(items.item_id, engaged.item_id) as item_id,
        items.title,
        items.created_at,
        {{ available_at(var('split_kind')) }} as available_at,
        engaged.first_engaged_at,
        coalesce(engaged.train_count, 0) as train_count,
        items.content
        {{ features_or_empty('items', ref('stg_items'), ['item_id', 'title', 'created_at', 'content']) }}
    from items
    full outer join engaged on items.item_id = engaged.item_id

),

sliced as (

    select
        item_id,
        title,
        created_at,
        available_at,
        first_engaged_at,
        train_count,
        {{ item_slice(var('head_rule'), '(select instant from cutoff)') }} as slice,
        * except (item_id, title, created_at, available_at, first_engaged_at, train_count)
    from every_item

)

select * from sliced
