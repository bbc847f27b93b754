-- The spine: payments and their history, the gateway's attempts, webhooks, events, and the job ledger.

-- One clock for everything that is stored or compared, ids included. The offset is zero except in a test that lets
-- hours or months pass; it cannot be set while a live key is configured (db/clock.py).
CREATE TABLE test_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    clock_offset interval NOT NULL DEFAULT interval '0'
);
INSERT INTO test_clock DEFAULT VALUES;

CREATE FUNCTION payfleet_now() RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    -- In this language because a session keeps its plan; one in SQL is planned anew in each statement that calls it.
    RETURN now() + (SELECT clock_offset FROM test_clock);
END
$$;

-- A UUIDv7 (RFC 9562 §5.7) of a given instant: 48 bits of milliseconds, then the random bits of a version 4.
-- Setting bits 52 and 53 turns the version nibble from 4 to 7.
CREATE FUNCTION payfleet_uuid7(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The smallest UUIDv7 of an instant: the bound of a partition or of a scan by time.
CREATE FUNCTION payfleet_uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (encode(substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3), 'hex')
            || '70008000000000000000')::uuid
$$;

CREATE TYPE payment_status AS ENUM (
    'PENDING', 'PROCESSING', 'SUCCESS', 'FAILED', 'ABANDONED', 'CANCELLED', 'REFUNDED', 'PARTIALLY_REFUNDED'
);
CREATE TYPE job_state AS ENUM ('ready', 'sent', 'dead');
CREATE TYPE attempt_outcome AS ENUM ('unknown', 'done', 'refused', 'not_sent');
CREATE TYPE webhook_verdict AS ENUM ('received', 'applied', 'ignored');

CREATE TABLE supported_currencies (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
    name text NOT NULL,
    symbol text NOT NULL,
    subunit text NOT NULL,
    decimal_places smallint NOT NULL DEFAULT 2,
    min_amount bigint NOT NULL CHECK (min_amount > 0),
    max_amount bigint NOT NULL CHECK (max_amount >= min_amount),
    is_active boolean NOT NULL DEFAULT true
);
INSERT INTO supported_currencies (code, name, symbol, subunit, min_amount, max_amount) VALUES
    ('NGN', 'Nigerian Naira', '₦', 'kobo', 100, 99999999900),
    ('GHS', 'Ghanaian Cedi', '₵', 'pesewas', 100, 99999999900),
    ('ZAR', 'South African Rand', 'R', 'cents', 100, 99999999900),
    ('KES', 'Kenyan Shilling', 'KSh', 'cents', 100, 99999999900),
    ('USD', 'US Dollar', '$', 'cents', 100, 99999999900);

-- Partitioned by month on the id itself, which carries the time: the primary key is the partition key, a lookup
-- touches one partition, and a month is archived by moving a partition.
CREATE TABLE payments (
    id uuid PRIMARY KEY,
    user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 255),
    order_id text NOT NULL CHECK (length(order_id) BETWEEN 1 AND 255),
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL REFERENCES supported_currencies (code),
    status payment_status NOT NULL DEFAULT 'PENDING',
    -- Grows by one with every change; also the number of the newest line of its history.
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    -- The n of the newest Paystack reference made from this id; the reference itself is a function of (id, n).
    reference_sequence smallint NOT NULL DEFAULT 1 CHECK (reference_sequence > 0),
    email_sealed bytea NOT NULL,
    channels text[] NOT NULL DEFAULT '{}',
    callback_url text,
    metadata jsonb NOT NULL DEFAULT '{}',
    access_code text,
    authorization_url text,
    gateway_transaction_id numeric(20, 0),
    gateway_response jsonb,
    channel text,
    card_type text,
    card_brand text,
    card_last4 text,
    card_exp_month smallint,
    card_exp_year smallint,
    failure_code text,
    failure_message text,
    review_reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    paid_at timestamptz,
    CONSTRAINT payments_paid_has_transaction CHECK (
        status NOT IN ('SUCCESS', 'PARTIALLY_REFUNDED', 'REFUNDED')
        OR (gateway_transaction_id IS NOT NULL AND paid_at IS NOT NULL)
    ),
    CONSTRAINT payments_url_with_code CHECK ((access_code IS NULL) = (authorization_url IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX payments_user_idx ON payments (user_id, id);
CREATE INDEX payments_order_idx ON payments (order_id);

-- The audit trail: one line for each change of a payment, numbered by the payment's version. Partitioned with its
-- payment, so that a month leaves as a whole; a foreign key would hold that month back.
CREATE TABLE payment_history (
    payment_id uuid NOT NULL,
    version integer NOT NULL,
    fact text NOT NULL,
    status payment_status NOT NULL,
    source text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (payment_id, version)
) PARTITION BY RANGE (payment_id);

-- One row for each call that may change something at Paystack, written before it is sent. The outcome stays
-- 'unknown' until an answer, or a later look at the reference, settles it.
CREATE TABLE payment_attempts (
    job_id uuid NOT NULL,
    token integer NOT NULL,
    payment_id uuid NOT NULL,
    kind text NOT NULL,
    reference text NOT NULL,
    outcome attempt_outcome NOT NULL DEFAULT 'unknown',
    detail text,
    sent_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (job_id, token)
);
CREATE INDEX payment_attempts_payment_idx ON payment_attempts (payment_id);

CREATE TABLE idempotency_keys (
    caller text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,
    payment_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);

-- Paystack's events as they came. The digest is of the raw body: Paystack sends no event id. The body is sealed,
-- since it names the customer and the card's authorization.
CREATE TABLE webhook_events (
    id uuid PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    body_sealed bytea NOT NULL,
    verdict webhook_verdict NOT NULL DEFAULT 'received',
    event text,
    reason text,
    payment_id uuid,
    correlation_id text NOT NULL,
    received_at timestamptz NOT NULL,
    handled_at timestamptz,
    CONSTRAINT webhook_events_handled CHECK ((verdict = 'received') = (handled_at IS NULL))
);
CREATE INDEX webhook_events_received_idx ON webhook_events (received_at) WHERE verdict = 'received';

-- What downstream is told, written with the change it tells. published_at is set only after the broker's confirm.
CREATE TABLE events (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    subject uuid NOT NULL,
    data jsonb NOT NULL,
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL,
    leased_until timestamptz,
    published_at timestamptz
) PARTITION BY RANGE (id);
CREATE INDEX events_unpublished_idx ON events (id) WHERE published_at IS NULL;

-- The job ledger: outbox, retry schedule and dead letters at once. A job that is done has no row.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    queue text NOT NULL,
    -- Ids, never secrets.
    payload jsonb NOT NULL,
    dedupe_key text,
    state job_state NOT NULL DEFAULT 'ready',
    -- How often it was claimed: the fencing token of the newest claim.
    attempts integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL,
    sent_at timestamptz,
    lease_until timestamptz,
    last_error text,
    correlation_id text NOT NULL,
    trace_context text,
    created_at timestamptz NOT NULL,
    CONSTRAINT jobs_sent_has_time CHECK (state <> 'sent' OR sent_at IS NOT NULL)
) WITH (
    fillfactor = 70,
    -- Every row is rewritten a few times and deleted within seconds: vacuum by count, not by share.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX jobs_due_idx ON jobs (run_at) WHERE state = 'ready';
CREATE INDEX jobs_sent_idx ON jobs (sent_at) WHERE state = 'sent';
-- Dead, and not yet announced on the dead-letter queue of its queue.
CREATE INDEX jobs_dead_idx ON jobs (id) WHERE state = 'dead' AND sent_at IS NULL;
CREATE UNIQUE INDEX jobs_dedupe_idx ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND state <> 'dead';

-- Create the monthly partitions from last month to some months ahead of an instant; harmless to repeat. Months begin in
-- UTC: adding a month in the session's zone would leave days without a partition.
CREATE FUNCTION payfleet_ensure_partitions(around timestamptz, months_ahead integer) RETURNS integer
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    parent text;
    starts timestamptz;
    child text;
    created integer := 0;
BEGIN
    FOR offset_months IN -1 .. months_ahead LOOP
        starts := date_trunc('month', around, 'UTC') + make_interval(months => offset_months);
        FOREACH parent IN ARRAY ARRAY['payments', 'payment_history', 'events'] LOOP
            child := parent || to_char(starts AT TIME ZONE 'UTC', '_YYYY_MM');
            IF to_regclass(child) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    child, parent,
                    payfleet_uuid7_floor(starts),
                    payfleet_uuid7_floor(date_trunc('month', starts + interval '32 days', 'UTC'))
                );
                -- Rows are rewritten once or twice soon after they come: leave room for it on the same page.
                EXECUTE format('ALTER TABLE %I SET (fillfactor = 80)', child);
                created := created + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN created;
END
$$;
