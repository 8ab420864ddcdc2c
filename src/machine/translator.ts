/** What the machine asks of whoever translates hot code: it runs beside the hart, and is called where the hart stands still. */
export interface Translator {
  /** Between two pieces of a slice: takes the hart's requests, puts finished translations in their places. The hart has executed so many instructions, for all of its guests. */
  poll(executed: number): void;
  /** Whether nothing is asked for or being made: then there is no hurry to poll again. */
  readonly idle: boolean;
  /** The guest, or a device, is about to write `bytes` bytes at this host address, where translated code was. */
  codeWritten?(host: number, bytes: number): void;
  stats?(): TranslatorStats;
  /** Host addresses of the code that has a translation, and whether that was made for the same code elsewhere. */
  places?(): Iterable<{ readonly host: number; readonly shared: boolean }>;
}

export interface TranslatorStats {
  /** Regions that were translated. */
  readonly regions: number;
  /** Places that got a translation of the same code elsewhere. */
  readonly shared: number;
  /** Of all modules compiled so far. */
  readonly wasmBytes: number;
  /** On the threads that compile, in seconds. */
  readonly compileSeconds: number;
}
