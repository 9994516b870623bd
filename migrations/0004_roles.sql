-- A role for each service, with what its statements need and no more: a service that is taken over can neither read
-- other services' tables nor run programs on the database's machine, as the owner of the tables could. `migrate`
-- gives them their passwords. What ran as the owner before keeps running.

DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['payment_service', 'admin_service', 'purchase_worker',
                                   'allocation_worker', 'session_worker'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I', service);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Roles belong to the server: another database of it has them already.
            NULL;
        END;
    END LOOP;
END $$;

GRANT SELECT, INSERT ON payments TO payment_service;
GRANT SELECT, INSERT, UPDATE (sent_at), DELETE ON outbox TO payment_service;

-- The load of trainers is counted by a trigger on the allocations, which runs as whoever inserts them.
GRANT SELECT ON courses, trainer_courses TO admin_service;
GRANT SELECT, UPDATE (active_allocations) ON trainers TO admin_service;
GRANT SELECT, INSERT ON trainer_allocations TO admin_service;

GRANT SELECT, INSERT ON student_course_purchases TO purchase_worker;
GRANT SELECT ON trainer_allocations TO allocation_worker;

-- A lock on a row needs the right to update one of its columns.
GRANT SELECT, UPDATE (synthetic) ON trainer_allocations TO session_worker;
GRANT SELECT ON courses TO session_worker;
GRANT SELECT, INSERT ON tutoring_sessions TO session_worker;

-- The inbox of each consumer, and its housekeeping.
GRANT SELECT, INSERT, DELETE ON processed_events TO purchase_worker, allocation_worker, session_worker;
