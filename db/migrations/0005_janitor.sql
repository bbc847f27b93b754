-- Ways for the janitor to what waits for a job, and for jobs to be made anew, that do not lead past everything else.

-- A look that was given up gives way to the next one of its payment.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_dead_dedupe_idx ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND state = 'dead';
