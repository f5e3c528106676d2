-- A session is one stretch of activity in a room. Its id, a UUIDv7, sorts by time.
create table sessions (
    epoch uuid primary key,
    room text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    top bigint not null
);

-- One row a message, in its newest known state. `seq` is the number of the event that posted it, `rev` that of
-- the last event that changed it.
create table messages (
    epoch uuid not null,
    seq bigint not null,
    rev bigint not null,
    room text not null,
    id text not null,
    role text not null,
    user_id text not null,
    content text not null,
    metadata jsonb not null,
    created_at timestamptz not null,
    edited_at timestamptz,
    deleted_at timestamptz,
    primary key (epoch, seq)
);

-- For paging a room backwards, across its sessions.
create index messages_by_room on messages (room, epoch, seq) where deleted_at is null;
