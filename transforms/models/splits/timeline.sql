{{ config(materialized='view' if target.type == 'duckdb' else 'table') }}

with engagements as (

    select *
    from {{ ref('stg_interactions') }}
    where {{ is_left_in() }}

),

labelled as (

    {% if var('split_kind') == 'leave_one_out' -%}
    {{ held_out(var('held_out_by')) }}
    {%- elif var('split_kind') == 'held_out_items' -%}
    {{ held_out_ids('item_id', var('held_out_share'), var('held_out_seed')) }}
    {%- elif var('split_kind') == 'held_out_users' -%}
    {{ held_out_ids('user_id', var('held_out_share'), var('held_out_seed')) }}
    {%- else -%}
    select *, cast(null as string) as held_out from engagements
    {%- endif %}

),

train_end as (

    -- The midnight after the last day of train: later than every train engagement, and a refresh.
    select
        cast(date_trunc('day', max(timestamp) filter (where held_out is null)) as timestamp) + interval 1 day as midnight,
        cast(date_trunc('day', min(timestamp) filter (where held_out is not null)) as timestamp) as first_held_out_day
    from labelled

),

timeline as (

    select
        labelled.user_id,
        labelled.item_id,
        case labelled.held_out
            when 'validation' then train_end.midnight
            {% if var('split_kind') == 'held_out_users' -%}
            -- All by one number of whole days: pauses, times of day and who came before whom stay as they were.
            when 'test' then labelled.timestamp + (train_end.midnight - train_end.first_held_out_day)
            {%- else -%}
            -- leave_one_out validates at the first midnight.
            when 'test' then train_end.midnight + interval {{ 1 if var('split_kind') == 'leave_one_out' else 0 }} day
            {%- endif %}
            else labelled.timestamp
        end as timestamp,
        labelled.event_type,
        labelled.value,
        labelled.source_row,
        labelled.timestamp as source_timestamp,
        labelled.held_out
    from labelled
    cross join train_end

)

select * from timeline
