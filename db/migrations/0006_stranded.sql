-- Ways for the janitor to what is open and may have lost its job, that do not lead past all that ever was. Each reads its
-- table once, with writes to it held up meanwhile; the runner's timeout gives up before that gets long.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX refunds_open_idx ON refunds (id) WHERE status IN ('PENDING', 'PROCESSING', 'NEEDS_ATTENTION');
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX payment_methods_pending_idx ON payment_methods (id) WHERE status = 'PENDING';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX payment_attempts_unknown_idx ON payment_attempts (payment_id) WHERE outcome = 'unknown';
-- By id instead of by time, which is the same order.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX webhook_events_open_idx ON webhook_events (id) WHERE verdict = 'received';
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX webhook_events_received_idx;
