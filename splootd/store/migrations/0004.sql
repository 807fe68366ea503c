-- The index on (priority, state) answers whatever the one on the priority alone did, and costs a new item nothing more.

DROP INDEX items_by_priority;
