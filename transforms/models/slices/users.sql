with users as (

    select *
    from {{ ref('stg_users') }}
    where user_id not in (select id from {{ ref('left_out') }} where kind = 'user')

),

engaged as (

    select
        user_id,
        count(*) filter (where split <> 'test') as train_count
    from {{ ref('interactions_split') }}
    group by user_id

),

every_user as (

    select
        coalesce(users.user_id, engaged.user_id) as user_id,
        coalesce(engaged.train_count, 0) as train_count
        {{ features_or_empty('users', ref('stg_users'), ['user_id']) }}
    from users
    full outer join engaged on users.user_id = engaged.user_id

)

select * from every_user
