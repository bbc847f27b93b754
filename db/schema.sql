-- The schema after all migrations, to read. Written by `python -m db.snapshot`; change the migrations instead.

SET check_function_bodies = false;

CREATE TYPE attempt_outcome AS ENUM (
    'unknown',
    'done',
    'refused',
    'not_sent'
);

CREATE TYPE job_state AS ENUM (
    'ready',
    'sent',
    'dead'
);

CREATE TYPE payment_method_status AS ENUM (
    'PENDING',
    'ACTIVE',
    'INACTIVE',
    'REJECTED'
);

CREATE TYPE payment_status AS ENUM (
    'PENDING',
    'PROCESSING',
    'SUCCESS',
    'FAILED',
    'ABANDONED',
    'CANCELLED',
    'REFUNDED',
    'PARTIALLY_REFUNDED'
);

CREATE TYPE refund_status AS ENUM (
    'PENDING',
    'PROCESSING',
    'NEEDS_ATTENTION',
    'SUCCESS',
    'FAILED'
);

CREATE TYPE webhook_verdict AS ENUM (
    'received',
    'applied',
    'ignored'
);

CREATE FUNCTION payfleet_ensure_partitions(around timestamp with time zone, months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    SET "TimeZone" TO 'UTC'
    AS $$
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

CREATE FUNCTION payfleet_now() RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
BEGIN
    -- In this language because a session keeps its plan; one in SQL is planned anew in each statement that calls it.
    RETURN now() + (SELECT clock_offset FROM test_clock);
END
$$;

CREATE FUNCTION payfleet_refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION payfleet_uuid7(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

CREATE FUNCTION payfleet_uuid7_floor(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT (encode(substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3), 'hex')
            || '70008000000000000000')::uuid
$$;

CREATE TABLE audit_log (
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_log_actor_check CHECK (((length(actor) >= 1) AND (length(actor) <= 255)))
);

CREATE TABLE circuits (
    name text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    last_error text,
    open_until timestamp with time zone,
    opened_at timestamp with time zone,
    failed_probes integer DEFAULT 0 NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    probe_until timestamp with time zone
);

CREATE TABLE events (
    id uuid NOT NULL,
    type text NOT NULL,
    subject uuid NOT NULL,
    data jsonb NOT NULL,
    correlation_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    leased_until timestamp with time zone,
    published_at timestamp with time zone
)
PARTITION BY RANGE (id);

CREATE TABLE idempotency_keys (
    caller text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    payment_id uuid,
    created_at timestamp with time zone NOT NULL,
    refund_id uuid,
    payment_method_id uuid,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

CREATE TABLE jobs (
    id uuid NOT NULL,
    kind text NOT NULL,
    queue text NOT NULL,
    payload jsonb NOT NULL,
    dedupe_key text,
    state job_state DEFAULT 'ready'::job_state NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    run_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    lease_until timestamp with time zone,
    last_error text,
    correlation_id text NOT NULL,
    trace_context text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT jobs_sent_has_time CHECK (((state <> 'sent'::job_state) OR (sent_at IS NOT NULL)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_cost_delay='0');

CREATE TABLE live_orders (
    order_id text NOT NULL,
    payment_id uuid NOT NULL,
    paid boolean DEFAULT false NOT NULL,
    look_at timestamp with time zone
);

CREATE TABLE payment_attempts (
    job_id uuid NOT NULL,
    token integer NOT NULL,
    payment_id uuid NOT NULL,
    kind text NOT NULL,
    reference text NOT NULL,
    outcome attempt_outcome DEFAULT 'unknown'::attempt_outcome NOT NULL,
    detail text,
    sent_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone
);

CREATE TABLE payment_history (
    payment_id uuid NOT NULL,
    version integer NOT NULL,
    fact text NOT NULL,
    status payment_status NOT NULL,
    source text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    correlation_id text NOT NULL,
    created_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (payment_id);

CREATE TABLE payment_methods (
    id uuid NOT NULL,
    user_id text NOT NULL,
    status payment_method_status DEFAULT 'PENDING'::payment_method_status NOT NULL,
    type text,
    authorization_sealed bytea NOT NULL,
    email_sealed bytea NOT NULL,
    signature text,
    card_type text,
    card_brand text,
    card_last4 text,
    card_exp_month smallint,
    card_exp_year smallint,
    bank_name text,
    account_name text,
    country_code text,
    is_default boolean DEFAULT false NOT NULL,
    merged_into uuid,
    failure_code text,
    failure_message text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT payment_methods_default_is_active CHECK (((NOT is_default) OR (status = 'ACTIVE'::payment_method_status))),
    CONSTRAINT payment_methods_merged_is_inactive CHECK (((merged_into IS NULL) OR (status = 'INACTIVE'::payment_method_status))),
    CONSTRAINT payment_methods_rejected_has_reason CHECK (((status <> 'REJECTED'::payment_method_status) OR (failure_code IS NOT NULL))),
    CONSTRAINT payment_methods_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 255)))
);

CREATE TABLE payments (
    id uuid NOT NULL,
    user_id text NOT NULL,
    order_id text NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    status payment_status DEFAULT 'PENDING'::payment_status NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    reference_sequence smallint DEFAULT 1 NOT NULL,
    email_sealed bytea NOT NULL,
    channels text[] DEFAULT '{}'::text[] NOT NULL,
    callback_url text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    access_code text,
    authorization_url text,
    gateway_transaction_id numeric(20,0),
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
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    expires_at timestamp with time zone,
    next_action jsonb,
    payment_method_id uuid,
    save_payment_method boolean DEFAULT false NOT NULL,
    refunds_reserved bigint DEFAULT 0 NOT NULL,
    refunded bigint DEFAULT 0 NOT NULL,
    flagged_transactions jsonb DEFAULT '[]'::jsonb NOT NULL,
    verified_at timestamp with time zone,
    gateway_status text,
    verification_error text,
    CONSTRAINT payments_amount_check CHECK ((amount > 0)),
    CONSTRAINT payments_order_id_check CHECK (((length(order_id) >= 1) AND (length(order_id) <= 255))),
    CONSTRAINT payments_paid_has_transaction CHECK (((status <> ALL (ARRAY['SUCCESS'::payment_status, 'PARTIALLY_REFUNDED'::payment_status, 'REFUNDED'::payment_status])) OR ((gateway_transaction_id IS NOT NULL) AND (paid_at IS NOT NULL)))),
    CONSTRAINT payments_reference_sequence_check CHECK ((reference_sequence > 0)),
    CONSTRAINT payments_url_with_code CHECK (((access_code IS NULL) = (authorization_url IS NULL))),
    CONSTRAINT payments_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 255))),
    CONSTRAINT payments_version_check CHECK ((version > 0))
)
PARTITION BY RANGE (id);

CREATE TABLE refunds (
    id uuid NOT NULL,
    payment_id uuid NOT NULL,
    amount bigint NOT NULL,
    currency text NOT NULL,
    status refund_status DEFAULT 'PENDING'::refund_status NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    reason text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    requested_by text NOT NULL,
    gateway_transaction_id numeric(20,0) NOT NULL,
    is_surplus boolean DEFAULT false NOT NULL,
    gateway_refund_id numeric(20,0),
    gateway_response jsonb,
    is_unsettled boolean DEFAULT false NOT NULL,
    sent_at timestamp with time zone,
    searches smallint DEFAULT 0 NOT NULL,
    failure_code text,
    failure_message text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    processed_at timestamp with time zone,
    CONSTRAINT refunds_amount_check CHECK ((amount > 0)),
    CONSTRAINT refunds_known_has_id CHECK (((status = ANY (ARRAY['PENDING'::refund_status, 'FAILED'::refund_status])) OR (gateway_refund_id IS NOT NULL))),
    CONSTRAINT refunds_processed_has_time CHECK (((status = 'SUCCESS'::refund_status) <= (processed_at IS NOT NULL))),
    CONSTRAINT refunds_version_check CHECK ((version > 0))
);

CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    digest bytea NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE supported_currencies (
    code text NOT NULL,
    name text NOT NULL,
    symbol text NOT NULL,
    subunit text NOT NULL,
    decimal_places smallint DEFAULT 2 NOT NULL,
    min_amount bigint NOT NULL,
    max_amount bigint NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    CONSTRAINT supported_currencies_check CHECK ((max_amount >= min_amount)),
    CONSTRAINT supported_currencies_code_check CHECK ((code ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT supported_currencies_min_amount_check CHECK ((min_amount > 0))
);

CREATE TABLE test_clock (
    only_row boolean DEFAULT true NOT NULL,
    clock_offset interval DEFAULT '00:00:00'::interval NOT NULL,
    CONSTRAINT test_clock_only_row_check CHECK (only_row)
);

CREATE TABLE webhook_events (
    id uuid NOT NULL,
    digest bytea NOT NULL,
    body_sealed bytea NOT NULL,
    verdict webhook_verdict DEFAULT 'received'::webhook_verdict NOT NULL,
    event text,
    reason text,
    payment_id uuid,
    correlation_id text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    handled_at timestamp with time zone,
    CONSTRAINT webhook_events_handled CHECK (((verdict = 'received'::webhook_verdict) = (handled_at IS NULL)))
);

ALTER TABLE ONLY audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY circuits
    ADD CONSTRAINT circuits_pkey PRIMARY KEY (name);

ALTER TABLE ONLY events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);

ALTER TABLE idempotency_keys
    ADD CONSTRAINT idempotency_keys_made_one_thing CHECK ((num_nonnulls(payment_id, refund_id, payment_method_id) = 1)) NOT VALID;

ALTER TABLE ONLY idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (caller, key);

ALTER TABLE ONLY jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY live_orders
    ADD CONSTRAINT live_orders_pkey PRIMARY KEY (order_id);

ALTER TABLE ONLY payment_attempts
    ADD CONSTRAINT payment_attempts_pkey PRIMARY KEY (job_id, token);

ALTER TABLE ONLY payment_history
    ADD CONSTRAINT payment_history_pkey PRIMARY KEY (payment_id, version);

ALTER TABLE ONLY payment_methods
    ADD CONSTRAINT payment_methods_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE payments
    ADD CONSTRAINT payments_refunds_within_amount CHECK (((refunded >= 0) AND (refunded <= refunds_reserved) AND (refunds_reserved <= amount))) NOT VALID;

ALTER TABLE ONLY refunds
    ADD CONSTRAINT refunds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY supported_currencies
    ADD CONSTRAINT supported_currencies_pkey PRIMARY KEY (code);

ALTER TABLE ONLY test_clock
    ADD CONSTRAINT test_clock_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY webhook_events
    ADD CONSTRAINT webhook_events_digest_key UNIQUE (digest);

ALTER TABLE ONLY webhook_events
    ADD CONSTRAINT webhook_events_pkey PRIMARY KEY (id);

CREATE INDEX audit_log_subject_idx ON audit_log USING btree (subject, id);

CREATE INDEX events_unpublished_idx ON events USING btree (id) WHERE (published_at IS NULL);

CREATE INDEX jobs_dead_all_idx ON jobs USING btree (id) WHERE (state = 'dead'::job_state);

CREATE INDEX jobs_dead_dedupe_idx ON jobs USING btree (dedupe_key) WHERE ((dedupe_key IS NOT NULL) AND (state = 'dead'::job_state));

CREATE INDEX jobs_dead_idx ON jobs USING btree (id) WHERE ((state = 'dead'::job_state) AND (sent_at IS NULL));

CREATE UNIQUE INDEX jobs_dedupe_idx ON jobs USING btree (dedupe_key) WHERE ((dedupe_key IS NOT NULL) AND (state <> 'dead'::job_state));

CREATE INDEX jobs_due_idx ON jobs USING btree (run_at) WHERE (state = 'ready'::job_state);

CREATE INDEX jobs_sent_idx ON jobs USING btree (sent_at) WHERE (state = 'sent'::job_state);

CREATE INDEX live_orders_overdue_idx ON live_orders USING btree (look_at) WHERE (NOT paid);

CREATE INDEX payment_attempts_payment_idx ON payment_attempts USING btree (payment_id);

CREATE INDEX payment_attempts_unknown_idx ON payment_attempts USING btree (payment_id) WHERE (outcome = 'unknown'::attempt_outcome);

CREATE UNIQUE INDEX payment_methods_default_idx ON payment_methods USING btree (user_id) WHERE is_default;

CREATE INDEX payment_methods_pending_idx ON payment_methods USING btree (id) WHERE (status = 'PENDING'::payment_method_status);

CREATE INDEX payment_methods_user_idx ON payment_methods USING btree (user_id, id);

CREATE INDEX payments_order_idx ON payments USING btree (order_id);

CREATE INDEX payments_user_idx ON payments USING btree (user_id, id);

CREATE UNIQUE INDEX refunds_gateway_idx ON refunds USING btree (gateway_refund_id) WHERE (gateway_refund_id IS NOT NULL);

CREATE UNIQUE INDEX refunds_one_unsettled_idx ON refunds USING btree (gateway_transaction_id) WHERE is_unsettled;

CREATE INDEX refunds_open_idx ON refunds USING btree (id) WHERE (status = ANY (ARRAY['PENDING'::refund_status, 'PROCESSING'::refund_status, 'NEEDS_ATTENTION'::refund_status]));

CREATE INDEX refunds_payment_idx ON refunds USING btree (payment_id, id);

CREATE UNIQUE INDEX refunds_surplus_idx ON refunds USING btree (gateway_transaction_id) WHERE (is_surplus AND (status <> 'FAILED'::refund_status));

CREATE INDEX webhook_events_open_idx ON webhook_events USING btree (id) WHERE (verdict = 'received'::webhook_verdict);

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION payfleet_refuse_change();

ALTER TABLE payments
    ADD CONSTRAINT payments_currency_fkey FOREIGN KEY (currency) REFERENCES supported_currencies(code);
