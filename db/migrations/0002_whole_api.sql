-- The whole payments API: refunds, saved payment methods, verification, one live payment per order.

CREATE TYPE refund_status AS ENUM ('PENDING', 'PROCESSING', 'NEEDS_ATTENTION', 'SUCCESS', 'FAILED');
CREATE TYPE payment_method_status AS ENUM ('PENDING', 'ACTIVE', 'INACTIVE', 'REJECTED');

ALTER TABLE payments
    -- How long its customer may take to pay, by the slowest channel offered.
    ADD COLUMN expires_at timestamptz,
    -- What the customer must do that is not just opening the checkout page: {"type", "message"}.
    ADD COLUMN next_action jsonb,
    ADD COLUMN payment_method_id uuid,
    ADD COLUMN save_payment_method boolean NOT NULL DEFAULT false,
    -- Subunits promised to refunds that have not failed, and subunits that refunds have really given back.
    ADD COLUMN refunds_reserved bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded bigint NOT NULL DEFAULT 0,
    -- The transactions that were held for a person to look at; each is flagged once.
    ADD COLUMN flagged_transactions jsonb NOT NULL DEFAULT '[]',
    -- The newest look at Paystack: when, what it said of the transaction, or the error code of a look that failed.
    ADD COLUMN verified_at timestamptz,
    ADD COLUMN gateway_status text,
    ADD COLUMN verification_error text;
-- Never more given back than was paid, whatever races.
ALTER TABLE payments ADD CONSTRAINT payments_refunds_within_amount
    CHECK (refunded >= 0 AND refunded <= refunds_reserved AND refunds_reserved <= amount) NOT VALID;

-- Orders with a payment that is live: waiting for its customer, or paid. Small and not partitioned, since a partitioned
-- table cannot keep an order unique. A payment that failed, was abandoned or was given back lets go of its order.
CREATE TABLE live_orders (
    order_id text PRIMARY KEY,
    payment_id uuid NOT NULL,
    -- Only one payment may ever be the one that paid an order; money of a second one is held.
    paid boolean NOT NULL DEFAULT false,
    -- When to ask Paystack without being asked: once the customer's time is over, and from time to time after that.
    look_at timestamptz
);
CREATE INDEX live_orders_overdue_idx ON live_orders (look_at) WHERE NOT paid;
INSERT INTO live_orders (order_id, payment_id, paid)
SELECT DISTINCT ON (order_id) order_id, id, status IN ('SUCCESS', 'PARTIALLY_REFUNDED')
FROM payments
WHERE status IN ('PENDING', 'PROCESSING', 'SUCCESS', 'PARTIALLY_REFUNDED')
ORDER BY order_id, status IN ('SUCCESS', 'PARTIALLY_REFUNDED') DESC, id;

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    status refund_status NOT NULL DEFAULT 'PENDING',
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    reason text,
    metadata jsonb NOT NULL DEFAULT '{}',
    requested_by text NOT NULL,
    -- The transaction the money goes back to.
    gateway_transaction_id numeric(20, 0) NOT NULL,
    -- Gives back a second payment of one order: money that no payment counts as its own.
    is_surplus boolean NOT NULL DEFAULT false,
    gateway_refund_id numeric(20, 0),
    gateway_response jsonb,
    -- A call to Paystack may be under way, or its answer was lost: nothing else is sent for this transaction.
    is_unsettled boolean NOT NULL DEFAULT false,
    -- The newest call, and how often Paystack's list was searched in vain since.
    sent_at timestamptz,
    searches smallint NOT NULL DEFAULT 0,
    failure_code text,
    failure_message text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    processed_at timestamptz,
    CONSTRAINT refunds_processed_has_time CHECK ((status = 'SUCCESS') <= (processed_at IS NOT NULL)),
    CONSTRAINT refunds_known_has_id CHECK (
        status IN ('PENDING', 'FAILED') OR gateway_refund_id IS NOT NULL
    )
);
CREATE INDEX refunds_payment_idx ON refunds (payment_id, id);
-- Paystack has no reference of ours for a refund: with one open question per transaction its list answers it.
CREATE UNIQUE INDEX refunds_one_unsettled_idx ON refunds (gateway_transaction_id) WHERE is_unsettled;
CREATE UNIQUE INDEX refunds_gateway_idx ON refunds (gateway_refund_id) WHERE gateway_refund_id IS NOT NULL;
CREATE UNIQUE INDEX refunds_surplus_idx ON refunds (gateway_transaction_id) WHERE is_surplus AND status <> 'FAILED';

CREATE TABLE payment_methods (
    id uuid PRIMARY KEY,
    user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 255),
    status payment_method_status NOT NULL DEFAULT 'PENDING',
    type text,
    -- A code can be charged only with the e-mail address it was made with; both are sealed.
    authorization_sealed bytea NOT NULL,
    email_sealed bytea NOT NULL,
    -- Paystack's name for the card itself: the same for each of its codes.
    signature text,
    card_type text,
    card_brand text,
    card_last4 text,
    card_exp_month smallint,
    card_exp_year smallint,
    bank_name text,
    account_name text,
    country_code text,
    is_default boolean NOT NULL DEFAULT false,
    -- The method that already held this card, where adding it brought nothing but a newer code.
    merged_into uuid,
    failure_code text,
    failure_message text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT payment_methods_default_is_active CHECK (NOT is_default OR status = 'ACTIVE'),
    CONSTRAINT payment_methods_merged_is_inactive CHECK (merged_into IS NULL OR status = 'INACTIVE'),
    CONSTRAINT payment_methods_rejected_has_reason CHECK (status <> 'REJECTED' OR failure_code IS NOT NULL)
);
CREATE INDEX payment_methods_user_idx ON payment_methods (user_id, id);
CREATE UNIQUE INDEX payment_methods_default_idx ON payment_methods (user_id) WHERE is_default;

-- A key stands for whatever it made. (Code of before writes payment_id always, and reads only keys of its own routes.)
ALTER TABLE idempotency_keys
    -- squawk-ignore ban-drop-not-null
    ALTER COLUMN payment_id DROP NOT NULL,
    ADD COLUMN refund_id uuid,
    ADD COLUMN payment_method_id uuid;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_made_one_thing
    CHECK (num_nonnulls(payment_id, refund_id, payment_method_id) = 1) NOT VALID;
