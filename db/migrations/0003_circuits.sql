-- Circuit breakers of what Payfleet calls, shared by every worker: a row for each that has ever failed.

CREATE TABLE circuits (
    name text PRIMARY KEY,
    -- In a row, since the last success.
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    -- Open: nothing is sent until then, and after that one probe at a time. Null while closed.
    open_until timestamptz,
    opened_at timestamptz,
    -- Probes that failed since it opened; each makes the next wait longer.
    failed_probes integer NOT NULL DEFAULT 0,
    -- The fencing token: counts probes. What a call of an earlier generation says no longer counts.
    generation integer NOT NULL DEFAULT 0,
    probe_until timestamptz
);
