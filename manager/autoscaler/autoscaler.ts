import { NotLeaderError } from '../../shared/errors.ts';
import type {
  GetAutoscalingRequest,
  GetAutoscalingResponse,
} from '../../shared/gen/shoal/v1/control.ts';
import type { SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';

/** The autoscaler of the manager that leads. */
export class Autoscaler {
  /** What agents measured. Throws NotLeaderError while this manager is not at it. */
  report(_batch: SampleBatch): void {
    throw new NotLeaderError(undefined);
  }

  /** How services follow their load. Throws NotLeaderError as `report` does. */
  describe(_request: GetAutoscalingRequest): GetAutoscalingResponse {
    throw new NotLeaderError(undefined);
  }
}
