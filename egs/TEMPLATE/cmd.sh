# shellcheck shell=bash
# How jobs run. Sourced by ser.sh after path.sh, which puts utils/ on the path.
#
# The three commands are called as in Kaldi: $cmd [options] [JOB=1:N] <log> <command> [args ...].
# To use your site's own run.pl, queue.pl or slurm.pl, put it on the path and name it below, with
# its options if it needs some: train_cmd="queue.pl -q all.q". cuda_cmd is called with --gpu N.

cmd_backend=${cmd_backend:-local} # local or slurm

case "${cmd_backend}" in
    local)
        export train_cmd="run.py"  # what needs no GPU
        export cuda_cmd="run.py"   # what uses --ngpu GPUs
        export decode_cmd="run.py" # posteriors
        ;;
    slurm)
        echo "cmd.sh: cmd_backend=slurm is not built yet; use cmd_backend=local" >&2
        return 2
        ;;
    *)
        echo "cmd.sh: cmd_backend is '${cmd_backend}'; it is local or slurm" >&2
        return 2
        ;;
esac
