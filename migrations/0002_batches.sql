-- Work in batches, at the same speed however much is stored; README.md says why each is so.

-- A trainer's load is counted as it changes, instead of being read anew for each allocation.
ALTER TABLE trainers ADD COLUMN active_allocations integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN trainers.active_allocations IS
    'how many active rows trainer_allocations has for the trainer; its triggers keep it';
-- Every batch of allocations updates it: room for the new versions on the same page.
ALTER TABLE trainers SET (fillfactor = 50);

-- Once for a statement, whatever its number of rows. The trainers are locked in id order, as the
-- admin-service does it, so that nobody waits for another in a circle.
CREATE FUNCTION count_trainer_allocations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids    uuid[];
    deltas integer[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE trainers SET active_allocations = 0;
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(trainer_id), array_agg(n) INTO ids, deltas FROM (
            SELECT trainer_id, count(*) AS n FROM added WHERE status = 'active' GROUP BY 1) d;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(trainer_id), array_agg(-n) INTO ids, deltas FROM (
            SELECT trainer_id, count(*) AS n FROM removed WHERE status = 'active' GROUP BY 1) d;
    ELSE
        SELECT array_agg(trainer_id), array_agg(n) INTO ids, deltas FROM (
            SELECT trainer_id, sum(n) AS n FROM (
                SELECT trainer_id, 1 AS n FROM added WHERE status = 'active'
                UNION ALL
                SELECT trainer_id, -1 FROM removed WHERE status = 'active') c
            GROUP BY 1 HAVING sum(n) <> 0) d;
    END IF;
    IF ids IS NOT NULL THEN
        PERFORM 1 FROM trainers WHERE id = ANY(ids) ORDER BY id FOR NO KEY UPDATE;
        UPDATE trainers t SET active_allocations = t.active_allocations + d.n
        FROM unnest(ids, deltas) AS d (id, n) WHERE t.id = d.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER count_added AFTER INSERT ON trainer_allocations
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_trainer_allocations();
CREATE TRIGGER count_changed AFTER UPDATE ON trainer_allocations
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_trainer_allocations();
CREATE TRIGGER count_removed AFTER DELETE ON trainer_allocations
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_trainer_allocations();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON trainer_allocations
    FOR EACH STATEMENT EXECUTE FUNCTION count_trainer_allocations();

-- The triggers' locks keep allocations as they are until this is committed.
UPDATE trainers t SET active_allocations = a.n
FROM (SELECT trainer_id, count(*) AS n FROM trainer_allocations
      WHERE status = 'active' GROUP BY 1) a
WHERE t.id = a.trainer_id;

-- Nobody reads these any more: the load is counted above, and an allocation's sessions are found
-- by UNIQUE (allocation_id, seq).
DROP INDEX trainer_allocations_load;
DROP INDEX tutoring_sessions_upcoming;

ALTER TABLE outbox ADD COLUMN traceparent text;
COMMENT ON COLUMN outbox.traceparent IS
    'W3C trace context of the request, for the header of the event; NULL where there was none';
