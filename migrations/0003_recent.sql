-- What `caravan verify` asks of a day must not take longer as the tables grow. Rows come in the order
-- of time, so that a summary of each few pages finds a day's, for next to nothing on each insert.

CREATE INDEX payments_created_at ON payments
    USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX student_course_purchases_created_at ON student_course_purchases
    USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX trainer_allocations_created_at ON trainer_allocations
    USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX tutoring_sessions_created_at ON tutoring_sessions
    USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);
