with engagements as (

    select timestamp, held_out from {{ ref('timeline') }}

),

span as (

    select
        min(timestamp) as first_at,
        {% if var('k_core') and var('k_core_counts') == 'before_cutoff' -%}
        -- Of every engagement, as for the counts of the core: what is left out must not move the cutoff.
        (select {{ cutoff(var('split_kind')) }} from {{ ref('stg_interactions') }}) as cutoff,
        {%- else -%}
        {{ cutoff(var('split_kind')) }} as cutoff,
        {%- endif %}
        max(timestamp) + interval 1 microsecond as end_at
    from engagements

),

validation as (

    select {{ validation_start(var('split_kind')) }} as starts_at
    from engagements
    cross join span
    where engagements.timestamp < span.cutoff

),

windows as (

    {{ window_numbers(var('cut_by')) }}

),

window_starts as (

    {{ window_starts(var('cut_by')) }}

),

bounds as (

    select 'train' as split, cast(null as integer) as window, span.first_at as starts_at, validation.starts_at as ends_at
    from span
    cross join validation

    union all

    select 'validation', null, validation.starts_at, span.cutoff
    from span
    cross join validation

    union all

    select
        'test',
        window_starts.window,
        window_starts.starts_at,
        lead(window_starts.starts_at, 1, span.end_at) over (order by window_starts.window)
    from window_starts
    cross join span

),

counted as (

    select
        bounds.split,
        bounds.window,
        bounds.starts_at,
        bounds.ends_at,
        count(engagements.timestamp) as engagements
    from bounds
    left join engagements
        on engagements.timestamp >= bounds.starts_at and engagements.timestamp < bounds.ends_at
    group by bounds.split, bounds.window, bounds.starts_at, bounds.ends_at

)

select * from counted
