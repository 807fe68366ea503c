-- How often something was changed that the daemon may remember of a folder that it has looked through: that its files
-- are known and have ended, and that nothing is left to do about them. While this number stays, so does that.

CREATE TABLE upheavals (n INTEGER NOT NULL) STRICT;
INSERT INTO upheavals VALUES (0);

CREATE TRIGGER upheavals_on_update AFTER UPDATE OF path, latest, size, mtime_ns, device, inode, state, folder_id ON items
WHEN OLD.latest = 1 AND OLD.state IN ('ready', 'dead', 'skipped') AND (
  NEW.state NOT IN ('ready', 'dead', 'skipped') OR NEW.latest = 0 OR NEW.path <> OLD.path OR NEW.size <> OLD.size
  OR NEW.mtime_ns <> OLD.mtime_ns OR NEW.device <> OLD.device OR NEW.inode <> OLD.inode
  OR NEW.folder_id IS NOT OLD.folder_id)
BEGIN
  UPDATE upheavals SET n = n + 1;
END;
