/** A named volume of this host. */
export type Volume = Readonly<{
  name: string;
  driver: string;
  labels: Readonly<Record<string, string>>;
  /** Where its files are. */
  mountpoint: string;
  createdAtMs: number;
  /** Made for one container that gave no name, and removed with it. */
  anonymous: boolean;
}>;

/**
 * Local volumes: directories that containers share and that outlive them. Errors are ShoalError:
 * `not-found` ("get x: no such volume"), `invalid-argument` (name), `unimplemented` (other drivers),
 * `failed-precondition` (in use).
 */
export interface Volumes {
  list(): Promise<readonly Volume[]>;
  get(name: string): Promise<Volume>;
  /** The volume if it is there, else made now. An empty name makes an anonymous one. */
  ensure(
    name: string,
    options?: Readonly<{ driver?: string; labels?: Readonly<Record<string, string>> }>,
  ): Promise<Volume>;
  /** With its files. `users` are the containers that hold it: none may. No error with `force` when it is gone. */
  remove(
    name: string,
    options: Readonly<{ force: boolean; users: readonly string[] }>,
  ): Promise<void>;
  /** Of these volumes those that nobody named, with their files: their container is gone. */
  removeAnonymous(names: readonly string[]): Promise<void>;
  /** Bytes of its files. */
  sizeBytes(name: string): Promise<number>;
}
