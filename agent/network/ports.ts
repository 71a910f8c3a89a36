/** A port of this host kept from other processes: packets to it are translated before they would reach it. */
export type HeldPort = Readonly<{ port: number; release(): Promise<void> }>;

export interface PortHolder {
  /** Port 0 takes any free one. Undefined when the port is taken. */
  hold(protocol: string, port: number): Promise<HeldPort | undefined>;
}
