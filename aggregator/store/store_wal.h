/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_WAL_H
#define AGGREGATOR_STORE_STORE_WAL_H

/*
 * SQLite's own way to files, but for the write-ahead log: SQLite writes it page
 * by page, and each page's head apart, two system calls and two small pieces of
 * the page cache for 8 KiB. Here they are put together and written when that is
 * due: when they are synced or read, or enough of them wait. And what a
 * checkpoint reads is read ahead.
 *
 * Only for a connection that syncs the log with each commit (synchronous =
 * FULL): then nothing waits between two transactions, and nobody else sees a
 * difference.
 *
 * The name of the VFS, for sqlite3_open_v2(); NULL: the default must do.
 * Any thread.
 */
const char *store_wal_vfs(void);

#endif /* AGGREGATOR_STORE_STORE_WAL_H */
