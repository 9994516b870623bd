-- Run once, by Postgres, when its volume is new.

CREATE TABLE orders (
    id        text PRIMARY KEY,
    customer  text NOT NULL,
    sku       text NOT NULL,
    quantity  integer NOT NULL CHECK (quantity > 0),
    country   text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_customer ON orders (customer, placed_at);

CREATE TABLE stock (
    sku     text PRIMARY KEY,
    on_hand integer NOT NULL CHECK (on_hand >= 0)
);
INSERT INTO stock (sku, on_hand) VALUES ('lantern-small', 100000), ('lantern-large', 100000), ('sample', 1000);

CREATE TABLE reservations (
    order_id    text PRIMARY KEY,
    sku         text NOT NULL REFERENCES stock (sku),
    quantity    integer NOT NULL,
    reserved_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reservations_sku ON reservations (sku);

CREATE TABLE invoices (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id  text NOT NULL UNIQUE,
    net_cents integer NOT NULL,
    tax_cents integer NOT NULL,
    billed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE mails (
    order_id text PRIMARY KEY,
    template text NOT NULL,
    sent_at  timestamptz NOT NULL DEFAULT now()
);
