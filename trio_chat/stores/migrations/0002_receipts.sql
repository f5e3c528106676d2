-- How far each user has read in a room, whatever session that was in: the newest read mark.
create table receipts (
    room text not null,
    user_id text not null,
    message_id text not null,
    at timestamptz not null,
    primary key (room, user_id)
);
