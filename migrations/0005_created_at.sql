-- A rule of `caravan verify` reads the newest rows first, in windows of a second. A BRIN index cannot find
-- them until their pages are summarized, and autovacuum may take minutes for that: until then every window
-- reads all of these pages. A B-tree finds them at once; its inserts go to its last page.

DROP INDEX payments_created_at;
CREATE INDEX payments_created_at ON payments (created_at);
DROP INDEX student_course_purchases_created_at;
CREATE INDEX student_course_purchases_created_at ON student_course_purchases (created_at);
DROP INDEX trainer_allocations_created_at;
CREATE INDEX trainer_allocations_created_at ON trainer_allocations (created_at);
DROP INDEX tutoring_sessions_created_at;
CREATE INDEX tutoring_sessions_created_at ON tutoring_sessions (created_at);
