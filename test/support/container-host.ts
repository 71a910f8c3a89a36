import type { ContainerdImages } from '../../agent/image/images.ts';
import type { Image } from '../../agent/image/types.ts';
import type { ContainerdRuntime, RuntimeOptions } from '../../agent/runtime/runtime.ts';
import type { ContainerConfig, ExecConfig, LogQuery } from '../../agent/runtime/types.ts';
import { containerConfig, EXEC } from './container-config.ts';
import { busyboxRootfs, TestContainerd } from './containerd.ts';

/** A containerd with a busybox image and a runtime on it. */
export class TestHost {
  readonly daemon: TestContainerd;
  readonly images: ContainerdImages;
  readonly image: Image;
  runtime: ContainerdRuntime;

  private constructor(
    daemon: TestContainerd,
    images: ContainerdImages,
    image: Image,
    runtime: ContainerdRuntime,
  ) {
    this.daemon = daemon;
    this.images = images;
    this.image = image;
    this.runtime = runtime;
  }

  static async start(options: Partial<RuntimeOptions> = {}): Promise<TestHost> {
    const daemon = await TestContainerd.start();
    try {
      const images = daemon.images();
      const image = await images.import(busyboxRootfs(), {
        reference: 'box:1',
        message: '',
        changes: [],
        signal: soon(),
      });
      return new TestHost(daemon, images, image, await daemon.runtime(options));
    } catch (error) {
      await daemon.stop();
      throw error;
    }
  }

  /** Makes a container that runs `sh -c script`; returns its id. */
  async create(
    script: string,
    fields: Partial<ContainerConfig> = {},
    files: readonly Uint8Array[] = [],
  ): Promise<string> {
    const { id: imageId, chainId } = this.image;
    const config = containerConfig(script, { imageId, chainId, ...fields });
    await this.runtime.create(config, this.image, files, soon());
    return config.id;
  }

  async run(script: string, fields: Partial<ContainerConfig> = {}): Promise<string> {
    const id = await this.create(script, fields);
    await this.runtime.start(id, soon());
    return id;
  }

  /** What a container printed, to its end: `1text` for stdout, `2text` for stderr. */
  async output(id: string, query: Partial<LogQuery> = {}): Promise<string[]> {
    const all = { stdout: true, stderr: true, follow: true, tail: -1, sinceMs: 0, untilMs: 0 };
    const lines: string[] = [];
    for await (const line of this.runtime.logs(id, { ...all, ...query }, soon())) {
      lines.push(`${line.stream}${Buffer.from(line.data)}`);
    }
    return lines;
  }

  /** Runs a script to its end and gives its output. */
  async outputOf(script: string, fields: Partial<ContainerConfig> = {}): Promise<string[]> {
    const id = await this.run(script, fields);
    await this.runtime.wait(id, soon());
    const lines = await this.output(id);
    await this.runtime.remove(id, { force: false });
    return lines;
  }

  async exec(
    id: string,
    script: string,
    fields: Partial<ExecConfig> = {},
    stdin?: Uint8Array,
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const config = { ...EXEC, cmd: ['/bin/sh', '-c', script], attachStdin: stdin !== undefined };
    const process = await this.runtime.exec(id, { ...config, ...fields }, soon());
    const feeding = (async () => {
      if (stdin === undefined) return;
      await process.writeStdin(stdin);
      await process.closeStdin();
    })();
    const text = { 1: '', 2: '' };
    const reading = (async () => {
      for await (const { stream, data } of process.output()) text[stream] += Buffer.from(data);
    })();
    await Promise.all([feeding, reading]);
    return { code: await process.wait(), stdout: text[1], stderr: text[2] };
  }

  /** The state of a container once it satisfies a condition. */
  async until(id: string, condition: (status: string) => boolean): Promise<string> {
    for (let turn = 0; turn < 500; turn += 1) {
      const status = (await this.runtime.get(id))?.state.status ?? 'gone';
      if (condition(status)) return status;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`container ${id} did not get where it should`);
  }
}

/** A bound for what must not hang. */
export function soon(): AbortSignal {
  return AbortSignal.timeout(30_000);
}
