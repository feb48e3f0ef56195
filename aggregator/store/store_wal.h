/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_WAL_H
#define AGGREGATOR_STORE_STORE_WAL_H

/*
 * An SQLite VFS that passes everything to the default one but buffers the
 * write-ahead log. SQLite writes it page by page, and each page's header apart:
 * two system calls per 8 KiB. This VFS collects the writes and does them at the
 * next sync or read, or when the buffer is full. And it reads ahead for
 * checkpoints, which read the log in order.
 *
 * Only for a connection that syncs the log with each commit (synchronous =
 * FULL). Then the buffer is empty between two transactions, and other
 * connections see no difference.
 *
 * Returns the name of the VFS, for sqlite3_open_v2(). NULL: use the default.
 * Any thread.
 */
const char *store_wal_vfs(void);

#endif /* AGGREGATOR_STORE_STORE_WAL_H */
