{#- The figures, in order; each is a column of one of the totals below. -#}
{%- set figures = {
    'interaction_totals': [
        'interactions', 'engaged_users', 'engaged_items', 'distinct_timestamps',
        'train_engagements', 'validation_engagements', 'test_engagements',
    ],
    'user_totals': ['users'],
    'item_totals': ['items', 'items_head', 'items_tail', 'items_cold', 'imbalance_factor'],
    'case_totals': [
        'test_share_head', 'test_share_tail', 'test_share_cold', 'test_share_user_in_train', 'test_share_off_catalog',
        'test_share_repeat', 'cold_share_seen_before',
    ],
    'left_out_totals': ['left_out_engagements', 'left_out_users', 'left_out_items'],
} -%}

with interactions as (

    select * from {{ ref('interactions_split') }}

),

interaction_totals as (

    select
        count(*) as interactions,
        count(distinct user_id) as engaged_users,
        count(distinct item_id) as engaged_items,
        count(distinct (user_id, item_id)) as pairs,
        count(distinct source_timestamp) as distinct_timestamps,
        {{ epoch_us('max(source_timestamp)') }} - {{ epoch_us('min(source_timestamp)') }} as span_us,
        count(*) filter (where split = 'train') as train_engagements,
        count(*) filter (where split = 'validation') as validation_engagements,
        count(*) filter (where split = 'test') as test_engagements
    from interactions

),

item_totals as (

    select
        count(*) as items,
        count(*) filter (where slice = 'head') as items_head,
        count(*) filter (where slice = 'tail') as items_tail,
        count(*) filter (where slice = 'cold') as items_cold,
        -- The imbalance factor of the CDN paper (section 2.1): items without a train engagement have no share in it.
        max(train_count) / min(train_count) filter (where train_count > 0) as imbalance_factor
    from {{ ref('items') }}

),

user_totals as (

    select count(*) as users from {{ ref('users') }}

),

case_totals as (

    select
        avg(cast(slice = 'head' as integer)) as test_share_head,
        avg(cast(slice = 'tail' as integer)) as test_share_tail,
        avg(cast(slice = 'cold' as integer)) as test_share_cold,
        avg(cast(user_in_train as integer)) as test_share_user_in_train,
        avg(cast(not on_catalog as integer)) as test_share_off_catalog,
        avg(cast(is_repeat as integer)) as test_share_repeat,
        avg(cast(engagements_seen > 0 as integer)) filter (where slice = 'cold') as cold_share_seen_before
    from {{ ref('test_cases') }}

),

left_out_totals as (

    select
        (select count(*) from {{ ref('stg_interactions') }}) - interaction_totals.interactions as left_out_engagements,
        (select count(*) from {{ ref('left_out') }} where kind = 'user') as left_out_users,
        (select count(*) from {{ ref('left_out') }} where kind = 'item') as left_out_items
    from interaction_totals

),

totals as (

    select
        {% for table, names in figures.items() -%}
        {%- for name in names -%}
        cast({{ table }}.{{ name }} as double) as {{ name }},
        {% endfor -%}
        {%- endfor -%}
        interaction_totals.span_us / 86400e6 as span_days,
        1 - interaction_totals.pairs / (user_totals.users * item_totals.items) as sparsity
    from interaction_totals
    cross join user_totals
    cross join item_totals
    cross join case_totals
    cross join left_out_totals

),

profile as (

    select name, value
    from totals unpivot include nulls (value for name in ({{ figures.values() | sum(start=[]) | join(', ') }}, span_days, sparsity))

)

select * from profile
