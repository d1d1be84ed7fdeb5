"""From a folder of submissions to grade sheets and feedback pages."""
