{#-
    Passes when every user and item that `model` does not leave out, and that has an engagement that counts, has at
    least k_core of them with what is kept, and when nothing is left out of which before_cutoff knows nothing.
    Nothing is asked without k_core, nor where k_core_passes ends it earlier.
-#}
{% test core_holds(model, engagements) %}

{% if not var('k_core') or var('k_core_passes') is not none -%}
select 1 as nothing_to_check where false
{%- else -%}
with engagements as (

    select * from {{ engagements }}

),

counted as (

    {{ counted_by_core(var('k_core_counts'), var('split_kind')) }}

),

kept as (

    select user_id, item_id
    from counted
    where
        user_id not in (select id from {{ model }} where kind = 'user')
        and item_id not in (select id from {{ model }} where kind = 'item')

)

select 'user' as kind, user_id as id, 'kept with ' || count(*) as problem
from kept
group by user_id
having count(*) < {{ var('k_core') }}

union all

select 'item', item_id, 'kept with ' || count(*)
from kept
group by item_id
having count(*) < {{ var('k_core') }}

{% if var('k_core_counts') == 'before_cutoff' -%}
union all

select kind, id, 'left out although nothing is known of it'
from {{ model }}
where
    (kind = 'user' and id not in (select user_id from counted))
    or (kind = 'item' and id not in (select item_id from counted))
{%- endif %}
{%- endif %}

{% endtest %}
