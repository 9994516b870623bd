-- Seven sessions a payment make this the table that costs most: one index over all of its rows instead of three.

-- A session is (allocation_id, seq); its id was derived from these, and nothing reads it. The session-worker of the
-- version before still writes it, so that the column stays for now, empty.
ALTER TABLE tutoring_sessions DROP CONSTRAINT tutoring_sessions_pkey;
ALTER TABLE tutoring_sessions ALTER COLUMN id DROP NOT NULL;
ALTER TABLE tutoring_sessions DROP CONSTRAINT tutoring_sessions_allocation_id_seq_key;
ALTER TABLE tutoring_sessions ADD PRIMARY KEY (allocation_id, seq);
COMMENT ON COLUMN tutoring_sessions.id IS 'no longer written; the key is (allocation_id, seq)';

-- Rules find an allocation's sessions by the key, and sessions without an allocation by the first of each.
DROP INDEX tutoring_sessions_created_at;
CREATE INDEX tutoring_sessions_first_created_at ON tutoring_sessions (created_at) WHERE seq = 1;
