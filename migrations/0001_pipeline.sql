-- The tables of the Koding Caravan pipeline; README.md says what each promises.
-- No foreign keys between the services' tables: each service may be replaced by another team's,
-- and `caravan verify` proves instead, by declared invariants, that nothing is orphaned.

CREATE TABLE payments (
    id              uuid PRIMARY KEY,
    idempotency_key text NOT NULL UNIQUE CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    student_id      uuid NOT NULL,
    course_id       uuid NOT NULL,
    amount_cents    bigint NOT NULL CHECK (amount_cents > 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status          text NOT NULL DEFAULT 'confirmed',
    synthetic       boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id       uuid NOT NULL UNIQUE,
    correlation_id uuid NOT NULL,
    topic          text NOT NULL,
    event          text NOT NULL,
    synthetic      boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    sent_at        timestamptz
);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_correlation_id ON outbox (correlation_id);

CREATE TABLE student_course_purchases (
    id           uuid PRIMARY KEY,
    payment_id   uuid NOT NULL UNIQUE,
    student_id   uuid NOT NULL,
    course_id    uuid NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    synthetic    boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE courses (
    id                    uuid PRIMARY KEY,
    title                 text NOT NULL,
    session_interval_days integer NOT NULL DEFAULT 1 CHECK (session_interval_days BETWEEN 1 AND 365)
);

CREATE TABLE trainers (
    id       uuid PRIMARY KEY,
    name     text NOT NULL,
    active   boolean NOT NULL DEFAULT true,
    capacity integer CHECK (capacity >= 0)
);
COMMENT ON COLUMN trainers.capacity IS 'allocations the trainer can hold at once; NULL = no limit';

CREATE TABLE trainer_courses (
    trainer_id uuid NOT NULL REFERENCES trainers (id) ON DELETE CASCADE,
    course_id  uuid NOT NULL REFERENCES courses (id) ON DELETE CASCADE,
    PRIMARY KEY (trainer_id, course_id)
);
CREATE INDEX trainer_courses_course_id ON trainer_courses (course_id);

CREATE TABLE trainer_allocations (
    id          uuid PRIMARY KEY,
    purchase_id uuid NOT NULL UNIQUE,
    trainer_id  uuid NOT NULL,
    student_id  uuid NOT NULL,
    course_id   uuid NOT NULL,
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ended')),
    synthetic   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX trainer_allocations_load ON trainer_allocations (trainer_id) WHERE status = 'active';

CREATE TABLE tutoring_sessions (
    id            uuid PRIMARY KEY,
    allocation_id uuid NOT NULL,
    seq           integer NOT NULL CHECK (seq > 0),
    starts_at     timestamptz NOT NULL,
    synthetic     boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (allocation_id, seq)
);
CREATE INDEX tutoring_sessions_upcoming ON tutoring_sessions (allocation_id, starts_at);

-- The inbox: an event that a consumer has taken effect of. Its insert shares the transaction with
-- the effect, so that a redelivery is recognised.
CREATE TABLE processed_events (
    consumer     text NOT NULL,
    event_id     uuid NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);

INSERT INTO courses (id, title, session_interval_days) VALUES
    ('00000000-0000-4000-8000-00000000c001', 'Rust from the first line', 1),
    ('00000000-0000-4000-8000-00000000c002', 'Event-driven systems', 1),
    ('00000000-0000-4000-8000-00000000c003', 'Reading music, once a week', 7),
    ('00000000-0000-4000-8000-00000000c004', 'Old Norse, which nobody teaches', 1);

INSERT INTO trainers (id, name, active, capacity) VALUES
    ('00000000-0000-4000-8000-00000000a001', 'Ada', true, NULL),
    ('00000000-0000-4000-8000-00000000a002', 'Barbara', true, NULL),
    ('00000000-0000-4000-8000-00000000a003', 'Clara', true, 2000),
    ('00000000-0000-4000-8000-00000000a004', 'Dennis', false, NULL);

INSERT INTO trainer_courses (trainer_id, course_id)
SELECT t.id, c.id FROM trainers t, courses c
WHERE c.id <> '00000000-0000-4000-8000-00000000c004'
  AND NOT (t.name = 'Clara' AND c.session_interval_days = 1);
