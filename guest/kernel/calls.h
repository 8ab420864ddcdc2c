/* The system calls: number in a7, arguments in a0 to a2, result in a0. What fails gives -1. */
#pragma once

enum call {
	CALL_EXIT,	/* (status) */
	CALL_FORK,	/* () → 0 in the child, its number in the parent */
	CALL_EXEC,	/* (name, arguments) */
	CALL_WAIT,	/* (status of a child) → its number */
	CALL_YIELD,	/* () */
	CALL_PROCESS,	/* () → the caller's number */
	CALL_READ,	/* (file, to, size) → so many bytes, 0 at the end */
	CALL_WRITE,	/* (file, from, size) → so many bytes */
	CALL_PIPE,	/* (two files: to read, to write) */
	CALL_CLOSE,	/* (file) */
	CALL_MAP,	/* (pages) → where */
	CALL_UNMAP,	/* (address, pages) */
	CALL_RANDOM,	/* (to, size) → so many bytes */
	CALL_FREE,	/* () → pages of memory that nobody has */
	CALL_OFF,	/* (whether something failed) */
	CALLS
};

/* What a program that did what it may not ends with, less the cause of its trap. */
#define KILLED (-100)
