# shellcheck shell=bash
# How jobs run. Sourced by ser.sh after path.sh, which puts utils/ on the path.
#
# The three commands are called as in Kaldi: $cmd [options] [JOB=1:N] <log> <command> [args ...].
# To use your site's own run.pl, queue.pl or slurm.pl, put it on the path and name it below, with
# its options if it needs some: train_cmd="queue.pl -q all.q". cuda_cmd is called with --gpu N.

if [ "${cmd_backend:-local}" != local ]; then
    echo "cmd.sh: cmd_backend is '${cmd_backend}'; it must be local, as slurm is not built yet" >&2
    return 2
fi
export train_cmd="run.py"  # jobs that need no GPU
export cuda_cmd="run.py"   # jobs that use --ngpu GPUs
export decode_cmd="run.py" # posteriors
