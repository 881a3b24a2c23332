import type { GripperState } from "./demonstration.js";
import type { CameraFrame } from "./rlbench/camera.js";
import type { Instructions } from "./rlbench/instructions.js";
import type { LinkBox } from "./robot/link-box.js";

/** How a folder of episodes is laid out. */
export type EpisodeFormat = "rlbench" | "3d-lotus" | "3d-diffuser-actor" | "compact" | "lerobot";

/** Names one episode of a data set; plain data, so it can be sent to a worker thread. */
export interface EpisodeRef {
  /** The folder that was opened; `openDataset(root).readEpisode(ref)` reads the episode anywhere. */
  root: string;
  task: string;
  /** Null where the format has one folder of all variations. */
  variation: number | null;
  /** Number by which episodes of a task are selected. */
  index: number;
  /** Unique in the data set. */
  id: string;
  /** Folder or file that holds the episode, with `#key` where a file holds several. The same whatever root was opened. */
  location: string;
}

/** A folder of episodes in any format; see `openDataset`. Opening and listing read no episode. */
export interface EpisodeSource {
  readonly format: EpisodeFormat;
  readonly root: string;
  /** Names of the tasks, sorted. */
  readonly tasks: readonly string[];
  /**
   * Episodes of a task, or of all tasks, in order of task and index.
   *
   * @throws DataError when the task does not exist
   */
  listEpisodes(task?: string): EpisodeRef[];
  /**
   * Opens one episode. What is large is read when a frame is.
   *
   * @throws DataError or PickleError naming file and field at fault
   */
  readEpisode(episode: EpisodeRef): Promise<RecordedEpisode>;
}

/** One episode: what is known of every frame, and random access to what was seen. */
export interface RecordedEpisode {
  readonly ref: EpisodeRef;
  /** Of the task; null where neither the reference nor the episode tells. */
  readonly variation: number | null;
  /** The file to name in errors. */
  readonly file: string;
  readonly instructions: Instructions;
  /** The gripper at each frame that can be observed. A format of key steps has frames only at those. */
  readonly states: readonly GripperState[];
  /**
   * Ascending frames of the key poses. The last may be `states.length`, one past the end, where the format stores the
   * final pose but not what was seen at it.
   */
  readonly keyFrames: readonly number[];
  /** What to reach at each key frame. */
  readonly keyPoses: readonly GripperState[];
  /** Number of each frame in the recording that key steps were taken from; null where the format has none. */
  readonly recordedFrames: readonly number[] | null;
  /** Path of the gripper that ends at each key pose, rows of position, quaternion xyzw and opening; null where absent. */
  readonly trajectories: readonly Float32Array[] | null;
  /** World-frame boxes around the robot's links at a frame; null where the recording does not tell them. */
  readonly linkBoxes: ((frame: number) => readonly LinkBox[]) | null;
  /** Names of the cameras that a frame shows; empty where the format has fused clouds. */
  readonly cameras: readonly string[];
  /**
   * What was seen at a frame.
   *
   * @param cameras which of the cameras to read. Default: all.
   * @throws DataError naming file and field at fault, or when the frame or camera does not exist
   */
  readFrame(frame: number, cameras?: readonly string[]): Observation;
}

/** What a format stores of one frame; a kind says which. */
export type Observation = DepthObservation | PositionObservation | CloudObservation;

/** Colour and depth images with the geometry of their cameras. */
export interface DepthObservation {
  kind: "depth images";
  cameras: readonly DepthImage[];
}

/** What one camera saw, in metres along its axis. */
export interface DepthImage extends CameraFrame {
  name: string;
}

/** Colour images with the world position of every pixel; the geometry of the cameras is not stored. */
export interface PositionObservation {
  kind: "position images";
  cameras: readonly PositionImage[];
}

/** What one camera saw, in world positions. */
export interface PositionImage {
  name: string;
  width: number;
  height: number;
  /** In [-1, 1], planes of red, green and blue: [3, height, width]. */
  rgb: Float32Array;
  /** Metres in the world frame, planes of x, y and z: [3, height, width]. */
  positions: Float32Array;
}

/** One cloud of all cameras; images are not stored. */
export interface CloudObservation {
  kind: "cloud";
  /** Metres in the world frame, [n, 3]. */
  positions: Float32Array;
  /** RGB, [n, 3]. */
  colors: Uint8Array;
  /** Handle of the simulator's object that each point lies on, [n]; null where not stored. */
  labels: Int32Array | null;
  /** Where the links of the robot are; null where not stored. */
  links: readonly RobotLink[] | null;
}

/** An oriented box around one link of the robot. */
export interface RobotLink {
  /** The simulator's name, such as `Panda_link1_respondable`. */
  name: string;
  /** Metres in the link's own frame: least and greatest x, least and greatest y, least and greatest z, [6]. */
  box: Float32Array;
  /** Of the link's frame in the world: position in metres and quaternion xyzw, [7]. */
  pose: Float32Array;
}
