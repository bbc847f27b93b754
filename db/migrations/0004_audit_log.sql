-- What people have done to the ledger, and a way to its dead jobs that does not lead past the live ones.

-- Written in the transaction of the act it tells, and never changed: who can write here can add, not correct.
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 255),
    action text NOT NULL,
    -- What it was done to, as people see it: job_…, pay_…
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_subject_idx ON audit_log (subject, id);

CREATE FUNCTION payfleet_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION payfleet_refuse_change();

-- Reads every job once; the ledger holds what is to be done, and is small.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_dead_all_idx ON jobs (id) WHERE state = 'dead';
