-- How much was used of rates and quotas, as each node tells it: so that limits hold for all nodes together, and quotas
-- over a restart. Rows are tidied away when they have lost their meaning.
CREATE TABLE usage (
    -- For quotas the day, counted from 1970; 0 for rates.
    day BIGINT NOT NULL,
    key TEXT NOT NULL,
    -- Who tells it: a name that each start of a server makes anew.
    node TEXT NOT NULL,
    -- How much in all: for quotas on this day, for rates since the node began to count.
    count BIGINT NOT NULL,
    told_at BIGINT NOT NULL,
    PRIMARY KEY (day, key, node)
);

CREATE INDEX usage_told_at ON usage (told_at);
