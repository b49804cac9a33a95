"""The application: configurations, run folders, the steps of a run, studies, the report, and the command line."""
