/* What a C library would have: for the kernel and for programs. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define NULL ((void *)0)

void *memcpy(void *to, const void *from, u64 size);
void *memset(void *to, int byte, u64 size);
u64 length_of(const char *text);
/* Whether `text` begins with `start`. */
int begins_with(const char *text, const char *start);
int same_text(const char *one, const char *other);
/* %s, %d (long), %x (u64). Cut off where `room` ends; returns the length. */
u64 format_text(char *to, u64 room, const char *format, __builtin_va_list arguments);
