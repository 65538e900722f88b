"""The folder of a run and its life: what lies in it, who writes there, and when it is finished."""
