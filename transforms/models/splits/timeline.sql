{{ config(materialized='view') }}

with engagements as (

    select * from {{ ref('stg_interactions') }}

),

labelled as (

    {% if var('split_kind') == 'leave_one_out' -%}
    {{ held_out(var('held_out_by')) }}
    {%- elif var('split_kind') == 'held_out_items' -%}
    {{ held_out_items(var('held_out_share'), var('held_out_seed')) }}
    {%- else -%}
    select *, cast(null as varchar) as held_out from engagements
    {%- endif %}

),

train_end as (

    -- The midnight after the last day of train: later than every train engagement, and a refresh.
    select cast(date_trunc('day', max("timestamp")) as timestamp) + interval 1 day as midnight
    from labelled
    where held_out is null

),

timeline as (

    select
        labelled.user_id,
        labelled.item_id,
        case labelled.held_out
            when 'validation' then train_end.midnight
            -- leave_one_out validates at the first midnight.
            when 'test' then train_end.midnight + interval {{ 1 if var('split_kind') == 'leave_one_out' else 0 }} day
            else labelled."timestamp"
        end as "timestamp",
        labelled.event_type,
        labelled."value",
        labelled.source_row,
        labelled."timestamp" as source_timestamp,
        labelled.held_out
    from labelled
    cross join train_end

)

select * from timeline
