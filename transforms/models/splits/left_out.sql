with {{ 'recursive ' if var('k_core') }}engagements as (

    select * from {{ ref('stg_interactions') }}

),

{% if var('k_core') -%}
counted as (

    {{ counted_by_core(var('k_core_counts'), var('split_kind')) }}

),

users as materialized (

    select user_id, row_number() over () as node from (select distinct user_id from counted) as ids

),

items as materialized (

    select item_id, -row_number() over () as node from (select distinct item_id from counted) as ids

),

{{ core_peeling(var('k_core'), var('k_core_passes')) }},

left_out as (

    select 'user' as kind, users.user_id as id, peeled.engagements, peeled.pass
    from peeled
    inner join users on peeled.node = users.node
    where peeled.engagements < {{ var('k_core') }}

    union all

    select 'item', items.item_id, peeled.engagements, peeled.pass
    from peeled
    inner join items on peeled.node = items.node
    where peeled.engagements < {{ var('k_core') }}

    {% if var('k_core_counts') == 'all_looking_ahead' -%}
    union all

    -- Of what nobody ever engaged with, published catalogs hold nothing.
    select 'item', item_id, 0, 1
    from {{ ref('stg_items') }}
    where item_id not in (select item_id from items)

    union all

    select 'user', user_id, 0, 1
    from {{ ref('stg_users') }}
    where user_id not in (select user_id from users)
    {%- endif %}

)
{%- else -%}
left_out as (

    select '' as kind, user_id as id, cast(0 as bigint) as engagements, 0 as pass
    from engagements
    where false

)
{%- endif %}

select * from left_out
