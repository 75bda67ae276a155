-- PostgreSQL's step: a gateway with a store of its own has its flows in a file of their own.
SELECT 1;
